#include <errno.h>
#include <nss.h>
#include <pwd.h>
#include <string.h>

#define FIELDS "world", "*", "Hello, World!", "/", "/bin/false"

enum nss_status _nss_hello_getpwnam_r(const char *name, struct passwd *user, char *buffer, size_t size, int *error) {
  if (strcmp(name, "world") != 0) return NSS_STATUS_NOTFOUND;
  const char *fields[] = {FIELDS};
  char **places[] = {&user->pw_name, &user->pw_passwd, &user->pw_gecos, &user->pw_dir, &user->pw_shell};
  for (size_t index = 0; index < sizeof fields / sizeof *fields; index++) {
    size_t length = strlen(fields[index]) + 1;
    if (length > size) {
      *error = ERANGE;
      return NSS_STATUS_TRYAGAIN;
    }
    *places[index] = memcpy(buffer, fields[index], length);
    buffer += length;
    size -= length;
  }
  user->pw_uid = user->pw_gid = 4711;
  return NSS_STATUS_SUCCESS;
}
