int Run(void) { return 1; }
