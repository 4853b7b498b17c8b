<?php

declare(strict_types=1);

namespace Jobs;

final class Told
{
    private string $state = 'fresh';

    public function work(string $path): never
    {
        $this->state = 'worked';
        throw new \RangeException("out of range: {$path}");
    }

    public function fatal(string $path): void
    {
        trigger_error($path, E_USER_ERROR);
    }

    public static function apart(string $path): never
    {
        throw new \RangeException("out of range: {$path}");
    }

    public function failed(\Throwable $error): void
    {
        [, $path] = explode(': ', $error->getMessage());
        file_put_contents($path, "{$this->state}, attempt " . getenv('SIDECAR_ATTEMPT') . "\n", FILE_APPEND);
    }
}
