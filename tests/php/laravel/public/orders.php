<?php

declare(strict_types=1);

use App\Http\Controllers\OrderController;
use Illuminate\Contracts\Http\Kernel;
use Illuminate\Http\Request;

require dirname(__DIR__) . '/vendor/autoload.php';
$app = require dirname(__DIR__) . '/bootstrap/app.php';
$app->make(Kernel::class)->bootstrap();
$app->make(OrderController::class)(Request::capture())->send();
