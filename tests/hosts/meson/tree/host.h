/* What plugins say, they say with this. */
void host_say(const char *greeting);
