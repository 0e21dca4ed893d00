-- wireguard: an encrypted tunnel; rtnetlink makes the link, which has no options here: keys and peers are the generic netlink family "wireguard".
return { kind = "wireguard" }
