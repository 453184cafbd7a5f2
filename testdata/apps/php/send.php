<?php
header('X-Sendfile: ' . $_SERVER['FILE']);
header('Content-Type: text/x-own');
header('Content-Disposition: attachment; filename="file"');
