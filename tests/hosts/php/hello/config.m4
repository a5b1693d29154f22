PHP_ARG_ENABLE([hello], [whether to greet], [AS_HELP_STRING([--enable-hello], [Greet])], [yes])
PHP_NEW_EXTENSION([hello], [hello.c], [$ext_shared])
