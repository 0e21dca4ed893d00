-- ingress, clsact: no queues, but places for filters: what comes in, and with clsact what goes out. tc(8).
return {
  { kind = "ingress" },
  { kind = "clsact" },
}
