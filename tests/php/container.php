<?php

/**
 * A bootstrap that returns a container: what makes the objects of calls.
 */

declare(strict_types=1);

require_once __DIR__ . '/bootstrap.php';

return static fn (string $class): object => new $class('by the container');
