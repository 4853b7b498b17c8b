<?php

/**
 * A bootstrap that loads the client once more, as Composer's autoloader does with `files`: by `require`.
 */

declare(strict_types=1);

require __DIR__ . '/../../clients/php/src/functions.php';
require_once __DIR__ . '/bootstrap.php';
