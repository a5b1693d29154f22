#include <stdio.h>

#include <security/pam_ext.h>
#include <security/pam_modules.h>

int pam_sm_authenticate(pam_handle_t *pam, int flags, int count, const char **arguments) {
  (void)flags, (void)count, (void)arguments;
  const char *name;
  int status = pam_get_user(pam, &name, NULL);
  if (status != PAM_SUCCESS) return status;
  printf("Hello, %s!\n", name);
  return PAM_SUCCESS;
}

int pam_sm_setcred(pam_handle_t *pam, int flags, int count, const char **arguments) {
  (void)pam, (void)flags, (void)count, (void)arguments;
  return PAM_SUCCESS;
}
