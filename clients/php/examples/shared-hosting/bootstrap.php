<?php

/**
 * What page and job both load. With Composer it would be vendor/autoload.php, and the client would find that by itself.
 */

declare(strict_types=1);

require_once __DIR__ . '/../../autoload.php';
require_once __DIR__ . '/Newsletter.php';
