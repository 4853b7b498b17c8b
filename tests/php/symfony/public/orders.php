<?php

declare(strict_types=1);

use App\Kernel;
use Symfony\Component\HttpFoundation\Request;

require dirname(__DIR__) . '/vendor/autoload.php';
$kernel = new Kernel('prod', false);
$kernel->handle(Request::create('/orders', 'POST', $_POST))->send();
