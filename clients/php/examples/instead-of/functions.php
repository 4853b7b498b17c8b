<?php

/**
 * What all these pages have to do, besides answering: a report that takes long. It waits for the month's figures, which
 * come when they come, and writes down who did what.
 */

declare(strict_types=1);

namespace Shop;

use InvalidArgumentException;
use RuntimeException;

/** Write a line into the shop's log. */
function note(string $folder, string $line): void
{
    file_put_contents("{$folder}/log", "{$line}\n", FILE_APPEND | LOCK_EX);
}

/** Make a month's report. */
function report(string $folder, string $month): string
{
    if (!in_array($month, ['April', 'May', 'June'], true)) {
        throw new InvalidArgumentException("no month is called {$month}");
    }
    note($folder, "{$month} begun by " . getmypid());
    for ($tries = 6000; !is_file("{$folder}/figures"); clearstatcache()) {
        if (--$tries < 0) {
            throw new RuntimeException("there are no figures for {$month}");
        }
        usleep(10_000);
    }
    note($folder, "{$month} made");
    return "the report of {$month}";
}
