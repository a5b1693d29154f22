#include "host.h"
#include "words.h"

void greet(void) { host_say(words(0)); }
