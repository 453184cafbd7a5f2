-- Asks for one of many files after the other, at random, but each time in the
-- same order. Arguments: the target with the number to be filled in, how many
-- there are, and how many of them get half of the requests (0: all are alike).
local requests, hot = {}, 0

function init(args)
    math.randomseed(1)
    hot = tonumber(args[3])
    for i = 1, tonumber(args[2]) do
        requests[i] = wrk.format("GET", string.format(args[1], i - 1))
    end
end

function request()
    if hot > 0 and math.random(2) == 1 then
        return requests[math.random(hot)]
    end
    return requests[math.random(#requests)]
end
