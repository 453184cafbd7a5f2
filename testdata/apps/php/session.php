<?php
session_save_path($_SERVER['SESSIONS']);
session_start();
$_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;
header('Content-Type: text/plain');
printf("n=%d pid=%d\n", $_SESSION['n'], getmypid());
