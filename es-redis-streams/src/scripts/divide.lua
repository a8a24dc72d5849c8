-- Puts the parts that follow in the place of the first ARGV[1], each of which is its
-- field and the checkpoint that it was seen at.
local last = 1 + 2 * ARGV[1]
for i = 2, last, 2 do
  local part = read_part(KEYS[1], ARGV[i])
  if not part or part.epoch .. ' ' .. part.position ~= ARGV[i + 1] then
    return 'changed'
  end
end
local epoch, position = '', nil
for i = 2, last, 2 do
  local part = read_part(KEYS[1], ARGV[i])
  redis.call('HDEL', KEYS[1], ARGV[i])
  position = part.position
  if after(part.epoch) > epoch then
    epoch = after(part.epoch)
  end
end
for i = last + 1, #ARGV do
  begin_part(ARGV[i], epoch, position)
end
return 'done'
