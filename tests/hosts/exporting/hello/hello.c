void host_say(const char *greeting, const char *name);

void hello(void) { host_say("Hello", "World"); }
