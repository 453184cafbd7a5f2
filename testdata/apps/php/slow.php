<?php
header('Content-Type: text/plain');
usleep(400000);
printf("pid=%d\n", getmypid());
