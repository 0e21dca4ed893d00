-- the interactive prompt: several lines make one statement, values of expressions are printed, Ctrl-C drops the line
--
-- With the Lua module "readline" there is line editing and a history in ~/.nslua_history. _PROMPT and _PROMPT2 are the
-- prompts, as in lua(1).

return function()
  return require("nslua.command.cli.interactive").run()
end
