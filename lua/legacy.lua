-- The older spelling of the language (docs/legacy.md), in terms of the present one; lua/legacy.c says how it gets in.
--
-- Called with the table of what only C can do; returns the functions by where they go: `lab` (of `provium`, called with a dot), `vm` (methods),
-- `global`. A function that calls `forward` or one of the checks must not do so in a tail call: they raise for the caller of whoever
-- called them.
local native = ...
local error, getmetatable, ipairs, pcall, rawequal, setmetatable, tostring, type =
    error, getmetatable, ipairs, pcall, rawequal, setmetatable, tostring, type
local string, table, json, wait_until = string, table, json, wait_until

local lab, vm, global = {}, {}, {}

local function refuse(level, ...) error(string.format(...), level + 1) end

-- What a C function raises has the position of its caller before it, which is this file; in place of that comes the position `level` calls
-- further out. Others, those of a script's function, keep their own.
local function raise(reason, level)
    local sentence = type(reason) == "string" and reason:match("^legacy%.lua:%d+: (.*)$")
    if sentence then error(sentence, level + 1) end
    error(reason, 0)
end

local function call(fn, ...) return fn(...) end
local function finish(ok, ...)
    if ok then return ... end
    raise((...), 3)
end

-- Results of fn(...).
local function forward(fn, ...) return finish(pcall(call, fn, ...)) end

local function check_self(name, self)
    local kind = native.kind(self)
    if kind ~= "VM" and kind ~= "Worker" then
        refuse(3, "%s: expected a VM before the arguments, got %s; call methods with a colon", name, kind)
    end
end

local function check(name, what, value, wanted)
    if native.kind(value) ~= wanted then refuse(3, "%s: %s must be a %s, got %s", name, what, wanted, native.kind(value)) end
end

-- A function's argument that is a name (not empty) or a text, without NUL bytes.
local function check_name(value, name, what)
    local ok, reason = pcall(call, native.check_name, value, name, what)
    if not ok then raise(reason, 3) end
end
local function check_text(value, name, what)
    local ok, reason = pcall(call, native.check_text, value, name, what)
    if not ok then raise(reason, 3) end
end

-- `provium.create(x)` and `provium:create(x)` are the same.
local function without_lab(first, ...)
    if native.kind(first) == "Lab" then return ... end
    return first, ...
end

-- Machines -----------------------------------------------------------------------------------------------------------------------

-- A VM that is not booted, with a name of its own.
function lab.create(...)
    local profile = without_lab(...)
    check_name(profile, "provium.create", "profile")
    native.begin()
    local scope, number = native.scope(), 1
    while scope[profile .. "#" .. number] do number = number + 1 end
    local made = forward(scope.vm, scope, profile .. "#" .. number, profile)
    return made
end

function lab.shutdown_all()
    for _, each in ipairs(native.made()) do each:shutdown() end
end

function vm.kill(self)
    check_self("vm:kill", self)
    self:shutdown()
end

-- What a command wrote: a string with methods that may be called with a dot or a colon.
local text = {}
local text_methods = {
    contains = function(value, part) return value:find(part, 1, true) ~= nil end,
    starts_with = function(value, part) return value:sub(1, #part) == part end,
    ends_with = function(value, part) return part == "" or value:sub(-#part) == part end,
    trim = function(value) return value:match("^%s*(.-)%s*$") end,
}
local function plain(value) return getmetatable(value) == text and value.value or value end

function text.__index(self, name)
    local fn = text_methods[name] or string[name]
    return fn and function(first, ...)
        if rawequal(first, self) then return fn(self.value, ...) end
        return fn(self.value, first, ...)
    end
end
function text.__tostring(self) return self.value end
function text.__concat(a, b) return tostring(plain(a)) .. tostring(plain(b)) end
function text.__len(self) return #self.value end
function text.__eq(a, b) return plain(a) == plain(b) end

local function older_result(result)
    return {
        ok = result:ok(), exit_code = result.exit_code, status = result.status, signal = result.signal, timed_out = result.timed_out,
        stdout = setmetatable({value = result.stdout}, text), stderr = setmetatable({value = result.stderr}, text),
    }
end

function vm.exec(self, command, args_or_opts)
    check_self("vm:exec", self)
    check_text(command, "vm:exec", "command")
    local result = forward(self.run, self, command, args_or_opts)
    return older_result(result)
end

function vm.json(self, command)
    check_self("vm:json", self)
    check_text(command, "vm:json", "command")
    local result = forward(self.run, self, command)
    forward(result.assert_ok, result)
    local ok, value = pcall(json.decode, result.stdout)
    if not ok then
        refuse(2, "vm:json: the output of `%s` is no JSON: %s", command, (tostring(value):gsub("^legacy%.lua:%d+: ", "")))
    end
    return value
end

-- The guest ----------------------------------------------------------------------------------------------------------------------

local filesystems = {
    {"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"securityfs", "/sys/kernel/security"},
}

local function is_mounted(mounts, kind, path)
    for where, what in mounts:gmatch("[^ ]+ ([^ ]+) ([^ ]+)[^\n]*\n") do
        if where == path and what == kind then return true end
    end
    return false
end

function vm.mount_vfs(self)
    check_self("vm:mount_vfs", self)
    local mounts = forward(self.run, self, "cat /proc/mounts 2>/dev/null").stdout
    for _, each in ipairs(filesystems) do
        local kind, path = each[1], each[2]
        if not is_mounted(mounts, kind, path) then
            local result = forward(self.run, self, "mkdir -p " .. path .. " && mount -t " .. kind .. " " .. kind .. " " .. path)
            forward(result.assert_ok, result)
        end
    end
end

local function matches(line, pattern)
    if line:find(pattern, 1, true) then return true end
    local ok, found = pcall(string.find, line, pattern)
    return ok and found ~= nil
end

function vm.dmesg(self, pattern)
    check_self("vm:dmesg", self)
    if pattern ~= nil then check_name(pattern, "vm:dmesg", "pattern") end
    local result = forward(self.run, self, "dmesg")
    forward(result.assert_ok, result)
    if pattern == nil then return result.stdout end
    local lines = {}
    for line in result.stdout:gmatch("[^\n]+") do
        if matches(line, pattern) then lines[#lines + 1] = line .. "\n" end
    end
    return table.concat(lines)
end

function vm.wait_until(self, predicate, opts)
    check_self("vm:wait_until", self)
    if opts ~= nil then check("vm:wait_until", "opts", opts, "table") end
    opts = opts or {}
    local value = forward(wait_until, predicate, {timeout = opts.timeout, interval = opts.interval or 0.5, desc = opts.desc})
    return value
end

-- Packing ------------------------------------------------------------------------------------------------------------------------

local words = {u8 = "I1", u16 = "I2", i16 = "i2", u32 = "I4", i32 = "i4", u64 = "I8", i64 = "i8"}
-- These mean something else to string.pack, which wins when nothing but them is there.
local both = {i16 = true}

-- The format for string.pack when `format` is of the older kind, else nil.
local function translate(format)
    local parts, only_older = {"<"}, false
    if type(format) ~= "string" then return nil end
    for word in format:gmatch("%S+") do
        if not words[word] then return nil end
        parts[#parts + 1] = words[word]
        only_older = only_older or not both[word]
    end
    return only_older and table.concat(parts) or nil
end

function lab.pack(...)
    local arguments = table.pack(without_lab(...))
    local data = forward(string.pack, translate(arguments[1]) or arguments[1], table.unpack(arguments, 2, arguments.n))
    return data
end

-- The older kind gives the values alone, without the position behind them.
function lab.unpack(...)
    local format, data, position = without_lab(...)
    local older = translate(format)
    local values = table.pack(forward(string.unpack, older or format, data, position))
    return table.unpack(values, 1, older and values.n - 1 or values.n)
end

-- Assertions ---------------------------------------------------------------------------------------------------------------------

local function fail(message, ...)
    local reason = string.format(...)
    error(message ~= nil and tostring(message) .. ": " .. reason or reason, 3)
end

function global.assert_eq(expected, actual, message)
    expected, actual = plain(expected), plain(actual)
    if expected ~= actual then fail(message, "expected `%s`, got `%s`", tostring(expected), tostring(actual)) end
end

function global.assert_contains(hay, needle, message)
    hay, needle = plain(hay), plain(needle)
    check("assert_contains", "hay", hay, "string")
    check("assert_contains", "needle", needle, "string")
    if not hay:find(needle, 1, true) then fail(message, "`%s` not found in `%s`", needle, hay) end
end

return {lab = lab, vm = vm, global = global}
