-- dummy: a link that drops what it is given; it has no options.
return { kind = "dummy" }
