-- Has to say the same as `TopicPattern::matches`.
local function matches(pattern, topic)
  if pattern == '*' then
    return true
  end
  local words = string.gmatch(topic, '[^.]+')
  for part in string.gmatch(pattern, '[^.]+') do
    local word = words()
    if not word then
      return false
    end
    if part == '**' then
      return true
    end
    if part ~= '*' and part ~= word then
      return false
    end
  end
  return words() == nil
end

local function any_matches(patterns, topic)
  for _, pattern in ipairs(patterns) do
    if matches(pattern, topic) then
      return true
    end
  end
  return false
end

-- Where the message was published to, as `wire.rs` writes it behind the lane; nothing if it
-- cannot be read.
local function topic_of(message)
  if #message < 5 then
    return ''
  end
  local at = 6 + struct.unpack('>I4', message, 2)
  if #message < at + 4 then
    return ''
  end
  local length = struct.unpack('>I4', message, at + 1)
  return string.sub(message, at + 5, at + 4 + length)
end
