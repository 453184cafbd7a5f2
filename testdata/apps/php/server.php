<?php
header('Content-Type: text/plain');
foreach (['SCRIPT_NAME', 'SCRIPT_FILENAME', 'PATH_INFO', 'PATH_TRANSLATED', 'REQUEST_URI', 'QUERY_STRING', 'DOCUMENT_ROOT', 'PHP_SELF',
    'REQUEST_METHOD', 'SERVER_NAME', 'SERVER_PORT', 'SERVER_PROTOCOL', 'REMOTE_ADDR', 'HTTP_X_OWN', 'HTTP_PROXY', 'FROM_ROUTE'] as $k) {
    printf("%s=%s\n", $k, $_SERVER[$k] ?? '(unset)');
}
printf("cwd=%s\n", getcwd());
