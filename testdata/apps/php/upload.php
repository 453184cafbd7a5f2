<?php
header('Content-Type: text/plain');
$f = $_FILES['file'];
printf("name=%s error=%d size=%d md5=%s title=%s\n", $f['name'], $f['error'], $f['size'], md5_file($f['tmp_name']), $_POST['title']);
