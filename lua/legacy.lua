-- The older spelling of the language (docs/legacy.md), in terms of the present one; lua/legacy.c says how it gets in.
--
-- Called with the table of what only C can do; returns the functions by where they go: `lab` (of `provium`, called with a dot), `vm` and `worker`
-- (methods), `global`. A function that calls `forward` or one of the checks must not do so in a tail call: they raise for the caller of whoever
-- called them.
local native = ...
local error, getmetatable, ipairs, pairs, pcall, rawequal, setmetatable, tostring, type =
    error, getmetatable, ipairs, pairs, pcall, rawequal, setmetatable, tostring, type
local math, string, table, json, wait_until = math, string, table, json, wait_until

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

-- Room for a struct statfs, which begins with the kind of filesystem.
local STATFS = ("\0"):rep(120)

-- devtmpfs says that it is a tmpfs, which says nothing.
local filesystems = {
    {"proc", "/proc", "PROC_SUPER_MAGIC"}, {"sysfs", "/sys", "SYSFS_MAGIC"}, {"devtmpfs", "/dev"},
    {"securityfs", "/sys/kernel/security", "SECURITYFS_MAGIC"},
}

-- By system calls, because such a guest need not have a shell. What is mounted there already is EBUSY, but for proc.
function vm.mount_vfs(self)
    check_self("vm:mount_vfs", self)
    local sys = native.scope().sys
    for _, each in ipairs(filesystems) do
        local kind, path, magic = each[1] .. "\0", each[2] .. "\0", each[3] and sys[each[3]]
        forward(self.syscall, self, "mkdir", {args = {0, 493}, bufs = {path}, ptrs = {0}})
        local found = forward(self.syscall, self, "statfs", {args = {0, 0}, bufs = {path, STATFS}, ptrs = {0, 1}})
        if not magic or found.errno ~= 0 or string.unpack("<i8", found.out_bufs[2]) ~= magic then
            local result = forward(self.syscall, self, "mount", {args = {0, 0, 0, 0, 0}, bufs = {kind, path, kind}, ptrs = {0, 1, 2}})
            if result.errno ~= 0 and result.errno ~= sys.EBUSY then
                refuse(2, "vm:mount_vfs: mount `%s` at `%s`: %s (%s)", each[1], each[2], sys.errno_text(result.errno),
                    sys.errno_name(result.errno))
            end
        end
    end
end

local function matches(line, pattern)
    if line:find(pattern, 1, true) then return true end
    local ok, found = pcall(string.find, line, pattern)
    return ok and found ~= nil
end

-- Actions of syslog(2), which have no names in the kernel's headers.
local READ_ALL, BUFFER_SIZE = 3, 10

function vm.dmesg(self, pattern)
    check_self("vm:dmesg", self)
    if pattern ~= nil then check_name(pattern, "vm:dmesg", "pattern") end
    local result = forward(self.syscall, self, "syslog", BUFFER_SIZE, 0, 0)
    if result.errno == 0 then
        local room = ("\0"):rep(result.ret)
        result = forward(self.syscall, self, "syslog", {args = {READ_ALL, 0, #room}, bufs = {room}, ptrs = {1}})
    end
    if result.errno ~= 0 then refuse(2, "vm:dmesg: %s", native.scope().sys.errno_text(result.errno)) end
    local lines = {}
    for line in result.out_bufs[1]:sub(1, result.ret):gmatch("[^\n]+") do
        line = line:gsub("^<%d+>", "")
        if pattern == nil or matches(line, pattern) then lines[#lines + 1] = line .. "\n" end
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

-- Jobs and workers ---------------------------------------------------------------------------------------------------------------

-- VM or Worker -> number of a job -> its process.
local jobs = setmetatable({}, {__mode = "k"})

function vm.background(self, command)
    check_self("vm:background", self)
    check_text(command, "vm:background", "command")
    local process = forward(self.run_async, self, command)
    local job = {id = process:handle(), pid = process:pid()}
    jobs[self] = jobs[self] or {}
    jobs[self][job.id] = process
    return job
end

-- A job is what vm:background returned, or its id.
local function process_of(self, job, name)
    local id = type(job) == "table" and job.id or job
    local process = id ~= nil and jobs[self] and jobs[self][id]
    if not process then refuse(3, "%s: job must be one that vm:background of this VM returned, got %s", name, native.kind(job)) end
    return process
end

function vm.job_wait(self, job, timeout)
    check_self("vm:job_wait", self)
    local process = process_of(self, job, "vm:job_wait")
    local result = forward(process.wait, process, timeout)
    return older_result(result)
end

-- With all that it has started: a job is the first of a process group.
function vm.job_kill(self, job)
    check_self("vm:job_kill", self)
    local process = process_of(self, job, "vm:job_kill")
    if forward(process.status, process) == "running" then
        forward(self.syscall, self, "kill", -process:pid(), native.scope().sys.SIGKILL)
    end
end

function vm.spawn(self, opts)
    check_self("vm:spawn", self)
    local worker = forward(self.spawn_worker, self, opts)
    return worker
end

-- Raw calls, with places of arguments counted from 0 ------------------------------------------------------------------------------

-- What the kernel returned: the error's number, negative, when there was one.
local function plain_result(result) return result.errno ~= 0 and -result.errno or result.ret end

local function check_call(nr, name)
    local ok, reason = pcall(call, native.check_call, nr, name)
    if not ok then raise(reason, 3) end
end

-- A buffer is its bytes, or how many zeros.
local ZEROS_MAX = 64 << 20
local function buffer_of(value, name, what)
    if math.type(value) == "integer" and value >= 0 and value <= ZEROS_MAX then return ("\0"):rep(value) end
    if type(value) ~= "string" then
        refuse(3, "%s: %s must be a string, or a number of zeros up to %d, got %s", name, what, ZEROS_MAX, native.kind(value))
    end
    return value
end

local function check_integer(value, name, what, least, most)
    if math.type(value) ~= "integer" then refuse(3, "%s: %s must be an integer, got %s", name, what, native.kind(value)) end
    if value < least or value > most then refuse(3, "%s: %s must be from %d to %d, got %d", name, what, least, most, value) end
end

function vm.syscall_buf(self, nr, args, index, data)
    check_self("vm:syscall_buf", self)
    check_call(nr, "vm:syscall_buf")
    check("vm:syscall_buf", "args", args, "table")
    check_integer(index, "vm:syscall_buf", "index", 0, 5)
    data = buffer_of(data, "vm:syscall_buf", "data")
    local result = forward(self.syscall, self, nr, {args = args, bufs = {data}, ptrs = {index}})
    return plain_result(result), result.out_bufs[1]
end

-- `bufs` is {[place] = data}.
function vm.syscall_bufs(self, nr, args, bufs)
    check_self("vm:syscall_bufs", self)
    check_call(nr, "vm:syscall_bufs")
    check("vm:syscall_bufs", "args", args, "table")
    check("vm:syscall_bufs", "bufs", bufs, "table")
    local list, places = {}, {}
    for place, data in pairs(bufs) do
        list[#list + 1] = buffer_of(data, "vm:syscall_bufs", "bufs[" .. tostring(place) .. "]")
        places[#places + 1] = place
    end
    local result = forward(self.syscall, self, nr, {args = args, bufs = list, ptrs = places})
    local out = {}
    for i, place in ipairs(places) do out[place] = result.out_bufs[i] end
    return plain_result(result), out
end

-- `data` has pointers in it: `pointers` is {[offset] = data that is pointed to}.
function vm.syscall_ptr(self, nr, args, index, data, pointers)
    check_self("vm:syscall_ptr", self)
    check_call(nr, "vm:syscall_ptr")
    check("vm:syscall_ptr", "args", args, "table")
    check_integer(index, "vm:syscall_ptr", "index", 0, 5)
    local list, nested, offsets = {buffer_of(data, "vm:syscall_ptr", "data")}, {}, {}
    check("vm:syscall_ptr", "pointers", pointers, "table")
    for offset, behind in pairs(pointers) do
        list[#list + 1] = buffer_of(behind, "vm:syscall_ptr", "pointers[" .. tostring(offset) .. "]")
        nested[#nested + 1] = {parent = 1, child = #list, offset = offset}
        offsets[#list] = offset
    end
    local result = forward(self.syscall, self, nr, {args = args, bufs = list, ptrs = {index}, nested = nested})
    local out = {}
    for i, offset in pairs(offsets) do out[offset] = result.out_bufs[i] end
    return plain_result(result), result.out_bufs[1], out
end

-- `fd` is one of the kernel's.
function vm.ioctl_buf(self, fd, request, data)
    check_self("vm:ioctl_buf", self)
    check_integer(fd, "vm:ioctl_buf", "fd", math.mininteger, math.maxinteger)
    check_integer(request, "vm:ioctl_buf", "request", math.mininteger, math.maxinteger)
    data = buffer_of(data, "vm:ioctl_buf", "data")
    local result = forward(self.syscall, self, "ioctl", {args = {fd, request, 0}, bufs = {data}, ptrs = {2}})
    return plain_result(result), result.out_bufs[1]
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

-- A worker has a `kill` of its own.
local worker = {}
for name, fn in pairs(vm) do
    if name ~= "kill" and name ~= "spawn" then worker[name] = fn end
end

return {lab = lab, vm = vm, worker = worker, global = global}
