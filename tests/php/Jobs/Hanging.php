<?php

declare(strict_types=1);

namespace Jobs;

/**
 * Hangs in its first attempt and fails in all others; `failed` writes down the attempt in which it was called.
 */
final class Hanging
{
    public static function work(string $folder): never
    {
        file_put_contents("{$folder}/ran", "x\n", FILE_APPEND);
        if (getenv('SIDECAR_ATTEMPT') === '1') {
            sleep(600);
        }
        throw new \RangeException($folder);
    }

    public static function failed(\Throwable $error): void
    {
        file_put_contents("{$error->getMessage()}/failed", getenv('SIDECAR_ATTEMPT') . "\n", FILE_APPEND);
    }
}
