<?php
header('Location: /page.php');
