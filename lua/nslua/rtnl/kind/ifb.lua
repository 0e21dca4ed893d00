-- ifb: intermediate functional block: a link whose queue shapes what tc redirects into it; it has no options.
return { kind = "ifb" }
