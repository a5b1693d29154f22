#include <php.h>

PHP_FUNCTION(greet) {
  zend_string *name;
  ZEND_PARSE_PARAMETERS_START(1, 1)
  Z_PARAM_STR(name)
  ZEND_PARSE_PARAMETERS_END();
  RETURN_STR(strpprintf(0, "Hello, %s!", ZSTR_VAL(name)));
}

ZEND_BEGIN_ARG_INFO_EX(greet_arguments, 0, 0, 1)
ZEND_ARG_INFO(0, name)
ZEND_END_ARG_INFO()

static const zend_function_entry functions[] = {PHP_FE(greet, greet_arguments) PHP_FE_END};

zend_module_entry hello_module_entry = {
    STANDARD_MODULE_HEADER, "hello", functions, NULL, NULL, NULL, NULL, NULL, "1.0", STANDARD_MODULE_PROPERTIES};

ZEND_GET_MODULE(hello)
