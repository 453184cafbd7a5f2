<?php
header('Content-Type: text/x-own');
header('Content-Length: ' . filesize($_SERVER['FILE']));
readfile($_SERVER['FILE']);
