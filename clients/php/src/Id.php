<?php

/**
 * Job ids: UUIDv7, 16 bytes, made here so that a job has a name before anybody has it. Its random part comes from the
 * kernel each time: a pool would be its parent's in a forked child, and two jobs with one id are one job.
 */

declare(strict_types=1);

namespace Sidecar;

use InvalidArgumentException;

final class Id
{
    /** Return a new id: milliseconds first, so that the ids of one machine sort by time. */
    public static function make(): string
    {
        $tail = random_bytes(10);
        $tail[0] = chr(0x70 | ord($tail[0]) & 0x0f);
        $tail[2] = chr(0x80 | ord($tail[2]) & 0x3f);
        return substr(pack('J', (int) (microtime(true) * 1000)), 2) . $tail;
    }

    /** Return the usual text of an id. */
    public static function show(string $id): string
    {
        $digits = bin2hex($id);
        return substr($digits, 0, 8) . '-' . substr($digits, 8, 4) . '-' . substr($digits, 12, 4) . '-'
            . substr($digits, 16, 4) . '-' . substr($digits, 20);
    }

    /** Return the 16 bytes of an id's text, dashes or not. */
    public static function parse(string $text): string
    {
        $digits = strtr($text, ['-' => '']);
        if (preg_match('/^[0-9a-f]{32}\z/i', $digits) !== 1) {
            throw new InvalidArgumentException(
                'cannot use ' . var_export($text, true) . ' as a job id: give the text of a UUID, as $job->id is one'
            );
        }
        return (string) hex2bin($digits);
    }
}
