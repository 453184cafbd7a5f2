<?php
ob_start();
echo 'never seen';
posix_kill(getmypid(), 9);
