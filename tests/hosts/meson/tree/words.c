#include "words.h"

const char *words(int is_first) { return is_first ? "Hello" : "Goodbye"; }
