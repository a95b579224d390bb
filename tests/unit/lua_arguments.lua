-- Every argument of every public function, with everything that it is not. `entries` comes before this text: the reference, with signatures.
-- A wrong value must raise at the line of the call, and the sentence must name the argument as the signature does.

local inf, nan = math.huge, 0 / 0

-- What is wrong for an argument of a kind, as {text for people, value}. `missing` is nil, which is fine when the argument is optional.
local NOTHING = {"nil", nil, missing = true}
local TYPES = {
    boolean = {"true", true}, table = {"{}", {}}, func = {"print", print}, number = {"42", 42}, string = {"\"x\"", "x"},
    thread = {"thread", coroutine.create(print)},
}
local function kind(...)
    local wrong = {NOTHING, TYPES.thread}
    for _, each in ipairs({...}) do wrong[#wrong + 1] = TYPES[each] or each end
    return wrong
end
local EMPTY, NUL = {"\"\"", ""}, {"\"a\\0b\"", "a\0b"}
local NEGATIVE, NAN, INF, HALF, HUGE = {"-1", -1}, {"nan", nan}, {"inf", inf}, {"1.5", 1.5}, {"2^70", 2 ^ 70}

-- A valid value, and what is wrong. Keys are the names in signatures; `OWNER.NAME.ARGUMENT` wins.
local name = {valid = "x", wrong = kind("boolean", "table", "func", "number", EMPTY, NUL)}
local text = {valid = "x", wrong = kind("boolean", "table", "func", "number", NUL)}
local bytes = {valid = "x", wrong = kind("boolean", "table", "func")}
local options = {valid = {}, wrong = kind("boolean", "func", "number", "string")}
local span = {valid = 1, wrong = kind("boolean", "table", "func", NEGATIVE, NAN, INF, {"\"soon\"", "soon"})}
local whole = {valid = 1, wrong = kind("boolean", "table", "func", HALF, NAN, INF, HUGE, {"\"x\"", "x"})}
local callable = {valid = print, wrong = kind("boolean", "table", "number", "string")}
local table_only = {valid = {}, wrong = kind("boolean", "func", "number", "string")}
local buffer = {valid = "x", wrong = kind("boolean", "table", "func", NEGATIVE, HALF, NAN, HUGE)}
local anything = {valid = 1, wrong = {}}

local arguments = {
    path = name, from = name, to = name, host = name, guest = name, directory = name, profile = {valid = "tiny", wrong = name.wrong},
    command = text, data = bytes, pattern = {valid = "boot", wrong = kind("boolean", "table", "func", "number", EMPTY)},
    ["VM.fd_stream.handle"] = {valid = 1, wrong = kind("boolean", "table", "func", "string", HALF, NEGATIVE, NAN, INF)},
    mode = {valid = {read = true}, wrong = options.wrong}, offset = whole, whence = {valid = "cur", wrong = kind("boolean", "table", "func", "number", "string")},
    opts = options, timeout = span, count = whole, n = whole,
    fn = callable, predicate = {valid = function() return true end, wrong = callable.wrong},
    snapshot = {valid = "/nowhere", wrong = kind("boolean", "table", "func", "number", EMPTY, NUL)},
    name = name, cond = anything, a = anything, b = anything, value = anything, msg = anything, format = anything, reason = anything,
    args_or_opts = {valid = {}, wrong = kind("boolean", "func", "number", "string")},
    member = {valid = false, wrong = kind("boolean", "func", "number", "string")},
    name_or_member = {valid = "v", wrong = kind("boolean", "func", "number", EMPTY)},
    meta = options, pos = anything,
    hay = {valid = "x", wrong = kind("boolean", "table", "func", "number")},
    needle = {valid = "x", wrong = kind("boolean", "table", "func", "number")},
    job = {valid = nil, wrong = kind("boolean", "table", "func", "string", NEGATIVE, NAN, INF, HALF)}, index = whole, fd = whole, request = whole, bufs = table_only, pointers = table_only,
    ["VM.syscall_buf.args"] = table_only, ["VM.syscall_bufs.args"] = table_only, ["VM.syscall_ptr.args"] = table_only,
    ["VM.syscall_buf.data"] = buffer, ["VM.syscall_ptr.data"] = buffer, ["VM.ioctl_buf.data"] = buffer,
    expected = anything, actual = anything, message = anything, number = whole, signal = {valid = "term", wrong = kind("boolean", "table", "func", EMPTY, NUL, NEGATIVE, NAN, HALF, {"\"nosuch\"", "nosuch"})},
    text = {valid = "1", wrong = kind("boolean", "table", "func")},
    parents_or_opts = {valid = {}, wrong = kind("func", "number", "string")},
    ["VM.ioctl.file"] = {valid = 1, wrong = kind("boolean", "table", "func", "string", HALF, NAN, INF, HUGE, NEGATIVE)},
    cmd = {valid = 1, wrong = kind("boolean", "table", "func", "string", HALF, NAN, INF, HUGE)},
    ["VM.ioctl.data"] = {valid = "12345678", wrong = kind("boolean", "table", "func", HALF, NAN)},
    nr = {valid = 39, wrong = kind("boolean", "table", "func", HALF, NAN, INF, HUGE, {"\"nosuch\"", "nosuch"})},
    addr = {valid = 4096, wrong = kind("boolean", "table", "func", "string", HALF, NAN, INF, HUGE)},
    len = {valid = 1, wrong = kind("boolean", "table", "func", "string", HALF, NAN, INF, HUGE, NEGATIVE, {"2^31", 1 << 31})},
    ["Lab.fixture.name"] = name, ["Lab.barrier.timeout"] = span,
    ["provium.unpack.data"] = anything, ["provium.pack.data"] = anything,
}

-- The sentence may call an argument by another word, when that is the word of the documentation of the original.
local aliases = {
    args_or_opts = {"second argument"}, member = {"lab:include", "array entries"}, name_or_member = {"lab:remove"}, hay = {"arguments"},
    needle = {"arguments"}, fn = {"bad arguments"}, meta = {"bad arguments"}, ["global.test.name"] = {"bad arguments"},
    parents_or_opts = {"opts"}, host = {"host path"}, guest = {"guest path"}, data = {"content"}, snapshot = {"path"}, ["Lab.restore.snapshot"] = {"path", "directory"},
}

-- Calls that cannot be made with valid arguments here, and why.
local elsewhere = {
    ["Lab.bridge"] = "not available yet", ["Lab.pack"] = "Lua's own", ["Lab.unpack"] = "Lua's own", ["global.todo"] = "only outside of tests",
    ["global.test"] = "only outside of tests, checked in lua_testcase",
}

local function objects()
    local v = provium:vm("walked", "tiny"):boot()
    arguments.job.valid = v:background("x")
    local batch
    v:batch(function(b) batch = b end)
    return {
        Batch = batch,
        VM = v, Lab = provium, sys = provium.sys, Console = v:console(), Snapshot = v:snapshot(), LabSnapshot = provium:snapshot(), RunResult = v:run("x"),
        Process = v:run_async("x"), Worker = v:spawn_worker(),
        SyscallHandle = v:syscall_async(39), File = v:open_file("/f", {read = true}),
        Tail = v:tail_file("x"), ConsoleStream = v:console():read(),
    }
end

local function arguments_of(signature)
    local list = {}
    local inside = signature:match("%((.-)%)") or ""
    for each in inside:gsub("[%[%]]", ""):gmatch("[^,%s]+") do
        if each ~= "..." then list[#list + 1] = {name = each:gsub("%?", ""), optional = each:find("?", 1, true) ~= nil} end
    end
    return list
end

local function describe(entry, argument)
    local full = entry.owner .. "." .. entry.name .. "." .. argument.name
    local what = arguments[full] or arguments[argument.name]
    assert(what, full .. ": this argument is in no kind of tests/unit/lua_arguments.lua")
    return what, full
end

local function names_it(sentence, entry, argument, full)
    for _, word in ipairs({argument.name, table.unpack(aliases[full] or aliases[argument.name] or {})}) do
        if sentence:find(word, 1, true) then return true end
    end
    return false
end

local function call(entry, target, values, count)
    local line
    local ok, raised = pcall(function()
        line = debug.getinfo(1, "l").currentline + 1
        local result = target(table.unpack(values, 1, count))
        return result
    end)
    return ok, tostring(raised), line
end

test("every argument of every function", function(t)
    local all, faults, tried = objects(), {}, 0
    all.Test = t
    for _, entry in ipairs(entries) do
        local label = entry.owner .. "." .. entry.name
        local callables = entry.kind == "function" or entry.kind == "method"
        local object = all[entry.owner]
        if callables and not elsewhere[label] then
            local target
            if entry.owner == "global" then target = _G[entry.name]
            elseif entry.owner == "json" then target = json[entry.name]
            else
                assert(object, label .. ": tests/unit/lua_arguments.lua knows no object of this type")
                target = object[entry.name]
            end
            local list = arguments_of(entry.signature)
            for position, argument in ipairs(list) do
                local what, full = describe(entry, argument)
                for _, wrong in ipairs(what.wrong) do
                    if not (wrong.missing and argument.optional) then
                        local values, count = {}, 0
                        if entry.kind == "method" then values[1], count = object, 1 end
                        for before = 1, position - 1 do
                            values[count + before] = describe(entry, list[before]).valid
                        end
                        values[count + position] = wrong[2]
                        local ok, sentence, line = call(entry, target, values, count + position)
                        tried = tried + 1
                        local fault
                        if ok then fault = "is taken"
                        elseif not sentence:find("case.test.lua:" .. line .. ":", 1, true) then fault = "not at the caller's line: " .. sentence
                        elseif not names_it(sentence, entry, argument, full) then fault = "does not name the argument: " .. sentence end
                        if fault then faults[#faults + 1] = full .. " = " .. wrong[1] .. ": " .. fault end
                    end
                end
            end
        end
    end
    t:log("tried " .. tried)
    t:assert(tried > 100, "only " .. tried .. " calls were tried")
    t:assert(#faults == 0, "\n" .. table.concat(faults, "\n"))
end)
