/* `hello NAME;` in a location greets whoever is named. */
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#define GREETING "Hello, %V!"

typedef struct {
  ngx_str_t name;
} hello_location;

static ngx_int_t greet(ngx_http_request_t *request);

static void *make_location(ngx_conf_t *configuration) {
  return ngx_pcalloc(configuration->pool, sizeof(hello_location));
}

static char *set_name(ngx_conf_t *configuration, ngx_command_t *command, void *location) {
  ngx_http_core_loc_conf_t *core = ngx_http_conf_get_module_loc_conf(configuration, ngx_http_core_module);
  core->handler = greet;
  return ngx_conf_set_str_slot(configuration, command, location);
}

static ngx_command_t commands[] = {
    {ngx_string("hello"), NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1, set_name, NGX_HTTP_LOC_CONF_OFFSET,
     offsetof(hello_location, name), NULL},
    ngx_null_command};

static ngx_http_module_t context = {NULL, NULL, NULL, NULL, NULL, NULL, make_location, NULL};

ngx_module_t ngx_http_hello_module = {
    NGX_MODULE_V1, &context, commands, NGX_HTTP_MODULE, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    NGX_MODULE_V1_PADDING};

static ngx_int_t greet(ngx_http_request_t *request) {
  hello_location *location = ngx_http_get_module_loc_conf(request, ngx_http_hello_module);
  size_t size = sizeof(GREETING) + location->name.len;
  ngx_buf_t *buffer = ngx_create_temp_buf(request->pool, size);
  if (buffer == NULL) return NGX_HTTP_INTERNAL_SERVER_ERROR;
  buffer->last = ngx_snprintf(buffer->pos, size, GREETING, &location->name);
  buffer->last_buf = 1;
  ngx_chain_t answer = {buffer, NULL};
  request->headers_out.status = NGX_HTTP_OK;
  request->headers_out.content_length_n = buffer->last - buffer->pos;
  ngx_http_discard_request_body(request);
  ngx_http_send_header(request);
  return ngx_http_output_filter(request, &answer);
}
