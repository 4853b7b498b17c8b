<?php

declare(strict_types=1);

namespace Sidecar\Tests\Tick;

use PHPUnit\Framework\TestCase;
use Sidecar\Bytes;
use Sidecar\Msgpack;
use Sidecar\Tick\Report;

final class ReportTest extends TestCase
{
    /** @return array<string, mixed> what is made of these bytes on fd 3 */
    private static function read(string $bytes): array
    {
        $file = fopen('php://memory', 'w+');
        fwrite($file, $bytes);
        return Report::read($file);
    }

    private static function told(mixed $told): string
    {
        $packed = Msgpack::encode($told);
        return pack('N', strlen($packed)) . $packed;
    }

    /** @return iterable<string, array{string, array<string, mixed>}> */
    public static function reports(): iterable
    {
        yield 'nothing' => ['', []];
        yield 'no length' => ["\0\0", []];
        yield 'a length of more than is there' => ["\xff\xff\xff\xffx", []];
        yield 'no msgpack' => ["\0\0\0\1\xc1", []];
        yield 'no map' => [self::told(42), []];
        yield 'a result' => [self::told(['result' => new Bytes("\x2a")]), ['result' => "\x2a"]];
        $error = ['type' => 'A', 'message' => 'b', 'traceback' => 'c'];
        yield 'an error' => [self::told(['error' => $error]), ['error' => $error]];
        foreach ([0, 1.5, false] as $retry) {
            $told = ['error' => $error, 'retry' => $retry];
            yield 'retry ' . json_encode($retry) => [self::told($told), $told];
        }
        foreach ([NAN, INF, -1, true, 'soon', PHP_INT_MAX] as $retry) {
            yield 'retry ' . var_export($retry, true) => [
                self::told(['error' => $error, 'retry' => $retry]), ['error' => $error],
            ];
        }
        $long = str_repeat('x', 600_000);
        $kept = substr($long, 0, 32 * 1024);
        yield 'an endless error' => [
            self::told(['error' => ['type' => $long, 'message' => $long, 'traceback' => $long]]),
            ['error' => ['type' => $kept, 'message' => $kept, 'traceback' => $kept]],
        ];
    }

    /**
     * @dataProvider reports
     * @param array<string, mixed> $made
     */
    public function testWhatIsMadeOfIt(string $bytes, array $made): void
    {
        self::assertSame($made, self::read($bytes));
    }
}
