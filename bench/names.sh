# sh bench/names.sh COMMAND...: a name is added and deleted, by a process each.
"$@" add nslua-bench-name && "$@" delete nslua-bench-name
