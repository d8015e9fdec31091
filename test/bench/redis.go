package main

import (
	"fmt"
	"strconv"
	"strings"

	"kuairelay/test/redisserver"
)

// isScript says whether a command is one that a relay sends to change something; almost all others run inside these.
func isScript(name string) bool {
	switch name {
	case "evalsha", "eval", "fcall":
		return true
	}
	return false
}

// usedMemory is what Redis holds for its data, in bytes: used_memory without the buffers of clients and append-only
// file.
func usedMemory(s *redisserver.Server) (float64, error) {
	info, err := s.Info("memory")
	if err != nil {
		return 0, err
	}
	number := func(name string) float64 {
		n, _ := strconv.ParseFloat(info[name], 64)
		return n
	}
	return number("used_memory") - number("mem_clients_normal") - number("mem_aof_buffer"), nil
}

// keysLua sums up MEMORY USAGE of the keys of each kind ({kuairelay}2:e:<id> is kind e). The kind body has how many
// events there are, what their bodies would take as keys of their own, and their length.
const keysLua = `
local kinds, cursor, alone = {}, '0', {}
local bodies = {0, 0, 0}
kinds.body = bodies
local function body(key)
  local a, b, c = string.byte(redis.call('GETRANGE', key, 0, 2), 1, 3)
  local length = redis.call('STRLEN', key) - a * 65536 - b * 256 - c
  if not alone[length] then
    local name = string.rep('x', 57)
    redis.call('SET', name, string.rep('x', length))
    alone[length] = redis.call('MEMORY', 'USAGE', name)
    redis.call('DEL', name)
  end
  bodies[1], bodies[2], bodies[3] = bodies[1] + 1, bodies[2] + alone[length], bodies[3] + length
end
repeat
  local page = redis.call('SCAN', cursor, 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    local kind = string.match(key, '}%d:(%a+)') or 'other'
    local k = kinds[kind] or {0, 0, 0}
    kinds[kind] = k
    k[1], k[2] = k[1] + 1, k[2] + redis.call('MEMORY', 'USAGE', key, 'SAMPLES', '0')
    if kind == 'e' then body(key) end
  end
until cursor == '0'
local out = {}
for kind, k in pairs(kinds) do out[#out + 1] = kind .. ' ' .. k[1] .. ' ' .. k[2] .. ' ' .. k[3] end
return out`

// keyKind is what the keys of one kind take.
type keyKind struct{ Keys, Bytes, Length float64 }

// keysOf looks at every key.
func keysOf(s *redisserver.Server) (map[string]keyKind, error) {
	text, err := s.Do("EVAL", keysLua, "0")
	if err != nil {
		return nil, err
	}
	out := make(map[string]keyKind)
	for line := range strings.Lines(text) {
		var kind string
		var k keyKind
		if _, err := fmt.Sscan(line, &kind, &k.Keys, &k.Bytes, &k.Length); err != nil {
			return nil, fmt.Errorf("read the sizes of keys: %w", err)
		}
		out[kind] = k
	}
	return out, nil
}
