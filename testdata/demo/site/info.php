<?php
header('Content-Type: text/plain; charset=utf-8');
printf("PHP %s as %s, process %d\n", PHP_VERSION, PHP_SAPI, getmypid());
printf("%s %s\n", $_SERVER['REQUEST_METHOD'], $_SERVER['REQUEST_URI']);
