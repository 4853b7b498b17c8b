<?php

/**
 * The program that the page starts: `php report.php FOLDER MONTH`.
 */

declare(strict_types=1);

require __DIR__ . '/../shop.php';

[, $folder, $month] = $argv;
Shop\report($folder, $month);
