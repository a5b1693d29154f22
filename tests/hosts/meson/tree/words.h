/* What a greeting begins with. */
const char *words(int is_first);
