<?php
header('Content-Type: text/plain; charset=utf-8');
printf("pid=%d method=%s a=%s\n", getmypid(), $_SERVER['REQUEST_METHOD'], $_REQUEST['a'] ?? '');
