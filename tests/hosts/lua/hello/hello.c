#include <lauxlib.h>
#include <lua.h>

static int greet(lua_State *state) {
  lua_pushfstring(state, "Hello, %s!", luaL_checkstring(state, 1));
  return 1;
}

int luaopen_hello(lua_State *state) {
  static const luaL_Reg functions[] = {{"greet", greet}, {NULL, NULL}};
  luaL_newlib(state, functions);
  return 1;
}
