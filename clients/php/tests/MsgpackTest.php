<?php

declare(strict_types=1);

namespace Sidecar\Tests;

use InvalidArgumentException;
use PHPUnit\Framework\TestCase;
use Sidecar\Bytes;
use Sidecar\Exception\ProtocolViolation;
use Sidecar\Map;
use Sidecar\Msgpack;

final class MsgpackTest extends TestCase
{
    /** @return iterable<string, array{mixed, string}> */
    public static function values(): iterable
    {
        yield 'null' => [null, 'c0'];
        yield 'true' => [true, 'c3'];
        yield 'false' => [false, 'c2'];
        yield 'zero' => [0, '00'];
        $numbers = [
            [127, '7f'], [128, 'cc80'], [255, 'ccff'], [256, 'cd0100'], [65535, 'cdffff'], [65536, 'ce00010000'],
            [4294967295, 'ceffffffff'], [4294967296, 'cf0000000100000000'], [PHP_INT_MAX, 'cf7fffffffffffffff'],
            [-1, 'ff'], [-32, 'e0'], [-33, 'd0df'], [-128, 'd080'], [-129, 'd1ff7f'], [-32768, 'd18000'],
            [-32769, 'd2ffff7fff'], [-2147483648, 'd280000000'], [-2147483649, 'd3ffffffff7fffffff'],
            [PHP_INT_MIN, 'd38000000000000000'],
        ];
        foreach ($numbers as [$number, $hex]) {
            yield (string) $number => [$number, $hex];
        }
        yield 'a float' => [1.5, 'cb3ff8000000000000'];
        yield 'minus zero' => [-0.0, 'cb8000000000000000'];
        yield 'an empty text' => ['', 'a0'];
        yield '31 characters' => [str_repeat('a', 31), 'bf' . str_repeat('61', 31)];
        yield '32 characters' => [str_repeat('a', 32), 'd920' . str_repeat('61', 32)];
        yield '256 characters' => [str_repeat('a', 256), 'da0100' . str_repeat('61', 256)];
        yield '65536 characters' => [str_repeat('a', 65536), 'db00010000' . str_repeat('61', 65536)];
        yield 'umlauts' => ['ä', 'a2c3a4'];
        yield 'an empty array' => [[], '90'];
        yield 'a list' => [[1, 'b'], '9201a162'];
        yield '16 items' => [array_fill(0, 16, 0), 'dc0010' . str_repeat('00', 16)];
        yield 'a map' => [['a' => 1], '81a16101'];
        yield 'keys that are numbers' => [[1 => 'a', 2 => 'b'], '82a131a161a132a162'];
    }

    /** @dataProvider values */
    public function testAValueAndItsBytes(mixed $value, string $hex): void
    {
        $packed = Msgpack::encode($value);
        $this->assertSame($hex, bin2hex($packed));
        $this->assertSame($value, Msgpack::decode($packed));
    }

    public function testAStringThatIsNoTextIsABin(): void
    {
        $this->assertSame('c403ff0041', bin2hex(Msgpack::encode("\xff\x00A")));
        $this->assertSame("\xff\x00A", Msgpack::decode("\xc4\x03\xff\x00A"));
        $this->assertSame('c402' . bin2hex('ab'), bin2hex(Msgpack::encode(new Bytes('ab'))));
        foreach ([255 => 'c4ff', 256 => 'c50100', 65536 => 'c600010000'] as $size => $head) {
            $this->assertStringStartsWith($head, bin2hex(Msgpack::encode(str_repeat("\xff", $size))));
        }
    }

    public function testAnEmptyMapIsNoEmptyList(): void
    {
        $this->assertSame('80', bin2hex(Msgpack::encode(new Map([]))));
        $this->assertSame('81a130a161', bin2hex(Msgpack::encode(new Map(['a']))));
    }

    public function testIntegersOver64BitsOfPhpAreDigits(): void
    {
        $this->assertSame('18446744073709551615', Msgpack::decode("\xcf" . str_repeat("\xff", 8)));
        $this->assertSame(PHP_INT_MAX, Msgpack::decode("\xcf\x7f" . str_repeat("\xff", 7)));
    }

    public function testAFloatOf32BitsIsRead(): void
    {
        $this->assertSame(1.5, Msgpack::decode("\xca\x3f\xc0\x00\x00"));
    }

    public function testWhatIsNoValueIsRefusedWithTheWayToItAndTheCure(): void
    {
        $cases = [
            [['a' => [1, new \DateTime()]], "value['a'][1]: it is DateTime", 'getTimestamp'],
            [[fopen('php://memory', 'r')], 'value[0]: it is resource', 'opened from'],
            [[static fn () => 1], 'it is Closure', 'name of a function'],
            [new \stdClass(), 'it is stdClass', '(array) $value'],
            [new \ArrayIterator([1]), 'ArrayIterator', 'iterator_to_array'],
            [new self(), self::class, 'its id'],
        ];
        foreach ($cases as [$value, $what, $cure]) {
            try {
                Msgpack::encode($value);
                $this->fail("packed {$what}");
            } catch (InvalidArgumentException $error) {
                $this->assertStringContainsString($what, $error->getMessage());
                $this->assertStringContainsString($cure, $error->getMessage());
            }
        }
    }

    public function testAnArrayThatContainsItselfIsRefused(): void
    {
        $array = [];
        $array['self'] = &$array;
        $this->expectException(InvalidArgumentException::class);
        $this->expectExceptionMessage('nested deeper');
        Msgpack::encode($array);
    }

    /** @return iterable<string, array{string}> */
    public static function nonsense(): iterable
    {
        $all = ['', 'c1', 'cc', 'cd00', 'a161' . '00', '92' . '00', '81a161', 'c4ff00', 'dfffffffff', 'ddffffffff',
            'dbffffffff', 'd40100', 'c70100ff', '81c000', '81cb3ff800000000000000', str_repeat('91', 200) . '00'];
        foreach ($all as $hex) {
            yield substr($hex, 0, 40) => [$hex];
        }
    }

    /** @dataProvider nonsense */
    public function testWhatIsNotOneWholeValueIsAViolation(string $hex): void
    {
        $this->expectException(ProtocolViolation::class);
        Msgpack::decode((string) hex2bin($hex));
    }
}
