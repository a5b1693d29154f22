/* Stands behind ATTACK, which runs as a constructor. NO_ANSWER leaves the contract's function out. */
__attribute__((constructor)) static void attack(void) {
  witness();
  ATTACK;
}
#ifdef DESTRUCTOR
__attribute__((destructor)) static void at_close(void) { DESTRUCTOR; }
#endif
#ifndef ANSWER
#define ANSWER 42
#endif
#ifndef NO_ANSWER
long plugin_answer(void) { return ANSWER; }
#endif
