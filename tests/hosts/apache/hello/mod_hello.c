#include <http_protocol.h>
#include <httpd.h>
#include <http_config.h>

static int greet(request_rec *request) {
  if (request->handler == NULL || strcmp(request->handler, "hello") != 0) return DECLINED;
  ap_set_content_type(request, "text/plain");
  ap_rputs("Hello, World!", request);
  return OK;
}

static void add_hooks(apr_pool_t *pool) { ap_hook_handler(greet, NULL, NULL, APR_HOOK_MIDDLE); }

AP_DECLARE_MODULE(hello) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, add_hooks, 0};
