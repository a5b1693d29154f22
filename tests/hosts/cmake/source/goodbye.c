#include "host.h"

void greet(void) { host_say("Goodbye"); }
