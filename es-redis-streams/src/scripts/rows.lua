-- Rows of the build ARGV[1], or of the one that answers if that is empty: values are in
-- the hash that KEYS[2] begins the name of, ids in order in the set of KEYS[3]. They are
-- the ARGV[5] first between ARGV[3] and ARGV[4], or those of which the ids follow.
local build = ARGV[1]
if build == '' then
  build = redis.call('HGET', KEYS[1], 'serves')
end
if not build then
  return {}
end
local ids, first = ARGV, 3
if ARGV[2] == 'between' then
  local name = KEYS[3] .. ':' .. build
  ids, first = redis.call('ZRANGEBYLEX', name, ARGV[3], ARGV[4], 'LIMIT', 0, ARGV[5]), 1
end
local found = {}
-- Lua hands over a few thousand values at once, and no more.
for from = first, #ids, 1000 do
  local to = math.min(from + 999, #ids)
  local values = redis.call('HMGET', KEYS[2] .. ':' .. build, unpack(ids, from, to))
  for i = 1, to - from + 1 do
    if values[i] then
      found[#found + 1] = ids[from + i - 1]
      found[#found + 1] = values[i]
    end
  end
end
return found
