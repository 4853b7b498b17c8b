<?php

declare(strict_types=1);

namespace Jobs;

final class Mail
{
    public static array $sent = [];

    public static function send(int $order, string $to = 'nobody'): string
    {
        return "{$order} to {$to}";
    }

    public function deliver(int $order): string
    {
        return "delivered {$order}";
    }

    private function hide(): void
    {
    }

    public static function __callStatic(string $name, array $args): string
    {
        return "facade {$name}";
    }
}
