<?php

/**
 * What an attempt told on fd 3: four bytes of length, then a packed map. The bytes are the job's own and may be
 * anything; what is no report is none.
 */

declare(strict_types=1);

namespace Sidecar\Tick;

use Sidecar\Msgpack;

final class Report
{
    private const MOST = 2 * 1024 * 1024; // bytes
    private const TEXT = 32 * 1024; // bytes of each text of an error: all attempts of a job are kept
    private const YEAR = 366 * 86400.0; // seconds

    /**
     * @param resource $file
     * @return array<string, mixed> result, result_error or error; nothing where nothing was told
     */
    public static function read($file): array
    {
        rewind($file);
        $data = (string) stream_get_contents($file, self::MOST);
        $size = strlen($data) < 4 ? 0 : unpack('N', $data)[1];
        if ($size === 0 || $size > strlen($data) - 4) {
            return [];
        }
        try {
            $told = Msgpack::decode(substr($data, 4, $size));
        } catch (\Throwable) {
            return [];
        }
        $error = is_array($told) ? $told['error'] ?? null : null;
        $text = static fn (mixed $given): string => is_string($given) ? substr($given, 0, self::TEXT) : '';
        return match (true) {
            is_string($told['result'] ?? null) => ['result' => $told['result']],
            is_string($told['result_error'] ?? null) => ['result_error' => $text($told['result_error'])],
            is_array($error) => [
                'error' => [
                    'type' => $text($error['type'] ?? null),
                    'message' => $text($error['message'] ?? null),
                    'traceback' => $text($error['traceback'] ?? null),
                ],
                ...self::retry($told['retry'] ?? null),
            ],
            default => [],
        };
    }

    /** @return array{retry?: int|float|false} */
    private static function retry(mixed $retry): array
    {
        $isPause = (is_int($retry) || is_float($retry)) && $retry >= 0 && $retry <= self::YEAR;
        return $isPause || $retry === false ? ['retry' => $retry] : [];
    }
}
