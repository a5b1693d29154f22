/*
 * reverse: the last name first, as in an index. "Ada Lovelace" becomes "Lovelace, Ada"; a single word stays as it is.
 *
 * There is nothing wrong with this code, and that is its part in the demonstration. regexec writes its answer into an
 * array of regmatch_t, and a regmatch_t has 8 bytes on glibc and 16 on musl. Compiled against one and run on the other,
 * the plugin loads, its symbols resolve, nothing crashes, and it reads the wrong words out of that array.
 */
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "greeter.h"

/* The given names, blanks, the last name. */
static const char pattern[] = "^(.*[^ ]) +([^ ]+)$";
enum { WHOLE, GIVEN, LAST, GROUPS };

/* As in sed, and as most programs have it: room for \0 to \9, whatever the pattern uses. */
enum { GROUPS_MAX = 10 };

/* "LAST, GIVEN" in memory of its own, or NULL. The pattern is anchored: GIVEN begins the name, LAST ends it. */
static char *last_name_first(const char *name, const regmatch_t *groups)
{
    const char *last = name + groups[LAST].rm_so;
    int given_length = (int)groups[GIVEN].rm_eo;

    int length = snprintf(NULL, 0, "%s, %.*s", last, given_length, name);
    if (length < 0)
        return NULL;

    char *text = malloc((size_t)length + 1);
    if (text != NULL)
        snprintf(text, (size_t)length + 1, "%s, %.*s", last, given_length, name);
    return text;
}

const char *plugin_name(void)
{
    return "reverse";
}

char *plugin_greet(const char *name)
{
    regex_t expression;
    if (regcomp(&expression, pattern, REG_EXTENDED) != 0)
        return NULL;

    regmatch_t groups[GROUPS_MAX];
    int status = regexec(&expression, name, GROUPS, groups, 0);
    regfree(&expression);

    return status == 0 ? last_name_first(name, groups) : strdup(name);
}

void plugin_free(char *greeting)
{
    free(greeting);
}
